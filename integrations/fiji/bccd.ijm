// Fiji / ImageJ: find the cells of the open image with bccd; label image, ROIs and measurements.
// Plugins > Macros > Run... Set BCCD to the command of your installation, with its whole path.
BCCD = "bccd";

title = getTitle();
getPixelSize(unit, width, height);
folder = getDirectory("temp") + "bccd_" + d2s(getTime(), 0) + File.separator;
File.makeDirectory(folder);
saveAs("Tiff", folder + "field.tif");
rename(title);
out = folder + "out";
if (unit == "micron" || unit == "um" || unit == "µm") {
  said = exec(BCCD, "predict", "--images", folder + "field.tif", "--out", out, "--save", "labels", "csv", "--quiet", "--pixel-size", "" + width);
} else {
  said = exec(BCCD, "predict", "--images", folder + "field.tif", "--out", out, "--save", "labels", "csv", "--quiet");
}
print(said);
if (!File.exists(out + File.separator + "labels" + File.separator + "field.tif"))
  exit("bccd did not work: " + said);
open(out + File.separator + "labels" + File.separator + "field.tif");
labels = getImageID();
run("3-3-2 RGB");
getStatistics(area, mean, min, cells);
roiManager("reset");
for (k = 1; k <= cells; k++) {
  selectImage(labels);
  setThreshold(k, k);
  run("Create Selection");
  if (selectionType() >= 0) {
    roiManager("Add");
    roiManager("select", roiManager("count") - 1);
    roiManager("rename", "cell " + k);
  }
}
resetThreshold();
run("Select None");
selectWindow(title);
roiManager("show all without labels");
open(out + File.separator + "csv" + File.separator + "field.csv");
